# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the network and the configuration before strongswan.service starts at boot."""

import connections
import first_boot
import network
from strongswan import peer

network.create()
first_boot.send()
connections.configure_gateway(["net4"])
connections.configure_swanctl()
connections.configure_peer()
connections.configure_blue()
peer.start()
