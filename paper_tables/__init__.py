"""From the records of a study to tables, figures, verdicts and pages. Nothing here trains, evaluates or imports torch.

`numbers` reads the records and gathers seeds, `statistics` is arithmetic that knows no study; `tables` and `figures`
show numbers and decide none.
"""
