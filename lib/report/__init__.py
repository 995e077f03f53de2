# SPDX-License-Identifier: GPL-2.0
"""Events from pytest, the model they become, and KTAP."""
