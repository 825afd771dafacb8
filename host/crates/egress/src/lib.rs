//! Outgoing connections: a name is resolved once, every address is checked, and the checked one is connected to.
