"""Everything that touches pictures and sound: all of it works on files, in time kept as fractions and whole frames."""
