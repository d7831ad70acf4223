-- Tells clients that whatever URL this component names with https is there without
-- TLS as well, at port 5280 of the onion: its circuit is encrypted, and ends at the key
-- in its name. Clients that do not know this use TLS.
module:add_feature("urn:xmpp-onion:plain-http:0");
