"""Export: a finished cell's model as others load it. Imported by name alone, when a model is asked for."""
