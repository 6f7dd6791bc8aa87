"""What nodes see of networks, asked for by managers: who is asked, whose answer counts, and what carries it."""
