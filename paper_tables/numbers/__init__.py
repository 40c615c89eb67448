"""From verified records to numbers: scores of single seeds, rows over seeds, and what the paper prints."""
