"""Exit codes of a task of the cluster, which its batch shell reads, and accounting shows."""

DONE = 0  # all that other tasks wait for has a record; where nobody waits, all of it
FAILED = 1
USAGE = 2  # it was started by hand, and otherwise than a batch file does
STOPPED = 75  # on a signal; what ran left a checkpoint, from which the task goes on when it is started again
NO_PARENT = 76
OTHER_SOURCE = 77  # than the one that was submitted
BAD_NODE = 78  # the task is to be started elsewhere
NO_STORE = 79  # the store did not answer; the task is to be started again
KILLED = 128  # and above: by a signal, whose number is added
