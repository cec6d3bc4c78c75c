//! Who may come in, and what they may do: TLS on ports and connections, tokens and roles, signed tickets.
