"""The code of each stage kind: a function from a StageContext to a StageResult. Imported by workers only."""
