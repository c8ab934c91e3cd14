"""``python -m crm.sandbox``: does what ``python -m hubspot_sandbox`` does."""

import sys

from hubspot_sandbox.__main__ import main

sys.exit(main())
