"""The paper's claims as data, and what a study says of each: held, not held, or cannot say. Printed elsewhere."""
