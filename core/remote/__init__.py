"""Workers on other machines: a rented one over SSH, the nodes of a Ray cluster."""
