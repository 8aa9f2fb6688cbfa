"""What users rely on, pinned: saved files and what every reading command says of them."""
