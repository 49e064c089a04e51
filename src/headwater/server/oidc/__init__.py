"""Signing in with an OpenID Connect provider: the protocol, the people it vouches for, the two routes of a browser."""
