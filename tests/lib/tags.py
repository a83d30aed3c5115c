# SPDX-License-Identifier: GPL-2.0-or-later
"""Values by which xfrmctl recognizes its own entries in the kernel (src/hold/shadow.h, src/routes/route.h)."""

# Tags in the user field of a selector. "XFMH": shadows that stay until they are released. "XFMG": expiring shadows.
# "XFMC": adjacent shadows. "XFMK": kept policies and guard SAs.
HOLD, EXPIRING, ADJACENT, KEPT = 0x58464d48, 0x58464d47, 0x58464d43, 0x58464d4b

# Routing protocol number of backup routes and of their rules.
ROUTE_PROTOCOL = 88
