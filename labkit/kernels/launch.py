"""What Jupyter runs for the *Local clouds* kernel: ``python -m labkit.kernels.launch -f CONNECTION_FILE``.

It only clears the way: Python puts the notebook's folder first on the path, and a learner's file there must not
stand in for a module of the kernel's own. IPython puts the folder back, behind the standard library.
"""

import os
import sys

if __name__ == "__main__":
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]

    from labkit.kernels.kernel import run

    run(sys.argv[1:])
