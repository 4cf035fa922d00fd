"""The training side: genomes that evolve, and the harness that feeds and judges them. Knows no Django."""
