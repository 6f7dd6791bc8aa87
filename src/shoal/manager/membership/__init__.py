"""Who is a manager, who of them is there, who may come and who may go."""
