"""What only the leader answers, offered by every manager: here while it leads, else by the leader."""
