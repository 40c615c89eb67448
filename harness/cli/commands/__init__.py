"""A module for each verb: reads its options, calls the rooms below, prints."""
