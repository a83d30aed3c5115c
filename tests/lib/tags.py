# SPDX-License-Identifier: GPL-2.0-or-later
"""What marks entries of the kernel as xfrmctl's own (src/hold/shadow.h, src/routes/route.h)."""

# In the user of a selector: "XFMH", of shadows that stay until they are released; "XFMG", of those that the kernel removes
# when their time is up; "XFMC", of those that stand close behind a policy; "XFMK", of kept policies and of guard SAs.
HOLD, GRACE, CLOSE, KEEP = 0x58464d48, 0x58464d47, 0x58464d43, 0x58464d4b

# The protocol of backup routes and their rules.
ROUTE_PROTOCOL = 88
