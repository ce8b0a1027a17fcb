"""Keeps workers on the nodes of a Ray cluster: as many of each plugin as its queue wants, each in an actor of its own.

A child of the server, in the Ray environment (environments.RAY): it reads its settings as one line of JSON from stdin,
`name`, `data`, `url`, `token`, `door`, `root`, `models`, and `ray`, which are RaySettings, and ends when stdin closes.
Its workers are attached as the devices ray/0, ray/1 ... and reach the door through it. What it knows is in
data/remotes/ray/state.json, as records.State."""
