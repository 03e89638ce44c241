"""`python -m unmask` is the command `unmask`."""

import sys

from unmask.cli.main import main

sys.exit(main())
