"""The paper's tables and figures, one small file each.

A file declares what is shown: lines, the row of the catalogue that each comes
from, and what the paper reports. ``python -m experiments table1`` measures
what is missing, prints the table, and renders ``results/paper.md``.
"""
