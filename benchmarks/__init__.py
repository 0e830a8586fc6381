"""How fast, how soon and how large: one file for each question. README.md says how to run and read them."""
