"""`python -m patchwidget` is the command `patchwidget`."""

import sys

from patchwidget.cli import main

sys.exit(main())
