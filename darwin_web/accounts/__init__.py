"""Who may come in: one-time links, passwords, and a limit on guessing."""
