-- Prosody as an onion service and nothing else; the same file for 0.12.3 and 13.0.
--
-- This is the one copy: `xmpp-onion server init DIR` fills in the names between
-- @ signs, and README.md beside this file says how to do it by hand. All modules
-- are Prosody's own, but for those in modules/.

local federation = "@FEDERATION@"     -- with other servers: off, listed or open

-- Where things are --------------------------------------------------------------

-- Prosody is started *in* data/, the one folder that its unprivileged user may
-- write. No path below names the way there, so the folder can be moved, and it may
-- lie where that user could not go by itself, such as /root.
data_path    = "/proc/self/cwd"
certificates = "certs"                  -- beside this file: @ONION@.crt and .key
plugin_paths = { "../modules" }         -- seen from data/
pidfile      = "prosody.pid"            -- in data/
log          = { warn = "prosody.log" } -- in data/; "info" would name everybody who logs in
umask        = "077"

-- Memory is cleaned when it has doubled since the last time. Prosody's own setting is
-- 105: when it has grown by a twentieth, and three quarters of all work in a room of
-- 100 were that. What it costs is memory: 10 MB with 100 people, at most once more of
-- what the server needs.
gc = { threshold = 200 }                -- percent

-- Listeners: loopback only, Tor brings the clients --------------------------------

network_backend       = "epoll"
interfaces            = { "127.0.0.1" }
local_interfaces      = { "127.0.0.1" }
http_interfaces       = { "127.0.0.1" }
use_ipv6              = false
c2s_ports             = { @C2S_PORT@ }
c2s_direct_tls_ports  = { }
http_ports            = { @HTTP_PORT@ }
https_ports           = { @HTTPS_PORT@ }   -- for files, and for clients of others
http_max_content_size = 64 * 1024         -- bytes: what is longer goes to the disk while
                                          -- it comes, and is not held in memory
s2s_ports             = { federation ~= "off" and @S2S_PORT@ or nil }
s2s_direct_tls_ports  = { }
onion_circuits_ports  = { @C2S_PROXY_PORT@ } -- the way in for Tor: see the ceilings below

-- Modules -------------------------------------------------------------------------

modules_enabled = {
	-- the core of RFC 6120 and 6121
	"roster"; "saslauth"; "tls"; "disco"; "user_account_management";
	-- what a present-day client expects
	"carbons"; "mam"; "smacks"; "csi_simple"; "pep"; "bookmarks"; "blocklist";
	"vcard4"; "vcard_legacy"; "private"; "ping"; "offline";
	-- whoever may write can read the keys, whatever the publishing client asked for
	"omemo_open";
	-- what waits for who is away is no longer on the disk than the archive
	"offline_tidy";
	-- who approved of being asked back may be away when they are
	"early_approval";
	-- accounts: by invitation only
	"register_ibr"; "invites"; "invites_register"; "invites_adhoc"; "invites_once";
	"invites_rooms"; "invite_page";
	"tombstones";
	-- who tries to log in does not learn which names there are
	"names_quiet";
	-- where Debian's prosody-modules are: fewer round trips to log in
	"fast_login";
	-- what is resumed loses nothing of the new connection
	"resumption";
	-- running it
	"admin_shell"; "limits"; "onion_circuits"; "account_limits"; "stranger_limits";
	"stamps";
	"http_quiet";
	-- other servers: through Tor or not at all. It is on in a closed server as well,
	-- because with it no part of Prosody can ask the DNS.
	"dialback"; "s2s_onion";
	-- Left out, for what they tell or let in: version, uptime, time, lastactivity,
	-- cloud_notify (its push servers are not onions), proxy65 and turn_external (no UDP,
	-- no second route), bosh. register_limits comes with register_ibr, and limits nothing
	-- here, where everybody is 127.0.0.1.
}

-- Other servers ------------------------------------------------------------------

-- Prosody loads s2s by itself unless told not to.
modules_disabled = { federation == "off" and "s2s" or nil }

onion_federation = federation
onion_peers      = { @PEERS@ }         -- with whom a "listed" server talks: their onions
onion_socks      = { "@SOCKS_HOST@"; @SOCKS_PORT@ } -- Tor; it gets names, never addresses

-- What is on its way to another server is on the disk until that server has it, so that a
-- Prosody that is killed loses nothing of it; unless messages are to be in memory alone.
onion_keeps_waiting = "@ARCHIVE@" ~= "memory"

-- An onion's name is its key, and dialback asks at that name: Tor is what makes sure
-- of a peer. TLS comes on top, with certificates that nobody signed.
s2s_secure_auth       = false
s2s_require_encryption = true
-- A message that a client may just send is larger with what a room adds to it.
s2s_stanza_size_limit = (512 + 16) * 1024

-- Log-in --------------------------------------------------------------------------

-- TLS is offered, not required: the circuit is encrypted already, and its name is
-- the server's key. Clients that know the certificate (it is in our invites) use it.
c2s_require_encryption       = false
allow_unencrypted_plain_auth = false    -- without TLS there is SCRAM and nothing else
authentication               = "internal_hashed"
password_hash                = "SHA-256" -- must precede the first account: one hash is kept
-- What a guess costs who has the disk: 23 ms. As much as who logs in, each time, and as
-- this server when a password is set, for which everybody waits; a log-in costs it
-- nothing. OWASP's 600,000 would hold up everybody for a seventh of a second.
default_iteration_count      = 100000
-- A password is shown to nobody, in TLS neither; and no token takes its place on 13.0.
disable_sasl_mechanisms      = { "PLAIN"; "LOGIN"; "DIGEST-MD5"; "OAUTHBEARER" }

-- A device may get a token in place of its password, where Debian's prosody-modules are.
-- The token itself lies on the disk: who seizes the server can log in with it this long.
sasl2_fast_token_ttl     = 86400 * 21   -- seconds since its last renewal

allow_registration       = true
registration_invite_only = true
registration_allowlist   = { }          -- its default trusts 127.0.0.1, that is everybody
invite_expiry            = 86400 * 3    -- seconds, where nobody asked for another time

-- Ceilings, for each session: an address means nothing here ------------------------

-- An OMEMO message to 500 people with two devices each is 276 kB (276 bytes for
-- each device that hears from us for the first time).
c2s_stanza_size_limit = 512 * 1024
-- Before the log-in, on 0.12: see onion_unauthenticated_bytes for 13.
c2s_unauthed_stanza_size_limit = 10000
s2s_unauthed_stanza_size_limit = 10000
limits = {
	-- Ten messages a second to 100 people with two devices each: 50 kB a message, 65 kB
	-- the first one. Four times that, because after each 8 kB that it reads Prosody
	-- waits for at least as long as this rate gives them, and saves up nothing.
	c2s = { rate = "2mb/s" };
	-- A peer brings what its people say in our rooms. Prosody's 30 kB/s would hold up a
	-- message to 100 people for two seconds, and all that others say behind it.
	s2sin = { rate = "2mb/s" };
}
-- Seconds to log in: eight round trips, of three seconds each on the slowest circuits
-- that are of use, and as much again. Who fills in a form meanwhile connects once more.
c2s_timeout             = 60
bounce_blocked_messages = true          -- 13 drops them unless told: who wrote is told
smacks_hibernation_time = 86400         -- seconds; telephones lose circuits all day
smacks_max_queue_size   = 500           -- stanzas kept for a client that is away
network_settings = {
	read_timeout          = 14 * 60;    -- seconds of silence before we ask
	ssl_handshake_timeout = 60;         -- seconds
}

-- Ceilings, for each circuit -------------------------------------------------------

-- Tor names the circuit of each connection (HiddenServiceExportCircuitID haproxy, in
-- torrc), and who passes one of these loses the circuit and all that came through it.
-- A new circuit costs work, where Tor asks for it. Programs of one person share one.
onion_circuit_connections = 32          -- XMPP, and files: browsers open 6 to a server
onion_circuit_unauthenticated = 8       -- of them without a log-in: an account each
onion_circuit_connection_burst = 120    -- new ones; after that
onion_circuit_connections_per_second = 2 -- as many: each file may be one
onion_circuit_failed_logins = 10        -- then one a minute: typing errors of a person
onion_circuit_registrations = 10        -- attempts, shown tokens and new passwords too;
                                        -- then one a minute
-- A question counts 1, a message or a presence 4, what belongs to acks 0.25. Who asks for
-- the keys of two rooms of a hundred, with two devices each, sends 1,200 questions, and
-- they take more than a second to come. Fifty messages a second go on after the burst, a
-- tenth of what this server can bear. A client that asks for acks, as ours does, is held
-- back to that; others are cut. Accounts have the same ceiling for all their circuits.
onion_circuit_stanza_burst = 1000
onion_circuit_stanzas_per_second = 200
onion_circuit_byte_burst = 64 * 1024 * 1024 -- files too; a circuit of Tor carries 1 to 4
onion_circuit_bytes_per_second = 8 * 1024 * 1024 -- megabytes a second
-- Another server speaks for everybody who lives there.
onion_circuit_s2s_stanza_burst = 5000
onion_circuit_s2s_stanzas_per_second = 500
-- Connections without a log-in, of all circuits together; then the oldest has to go.
-- Each takes 40 kB, and a log-in five seconds: nobody is hurt until 200 come a second.
onion_unauthenticated_connections = 1000

-- A log-in, or a form for an account, takes a tenth of it. 13 has no limit of its own
-- here but that of log-ins: a thousand guests could fill half a gigabyte.
onion_unauthenticated_bytes = 64 * 1024

-- Ceilings, for each account ---------------------------------------------------------

-- Who was invited may still want to fill the disk: what comes through an account's
-- sessions in a day, and may be archived twice, is a third of what it may upload.
onion_account_byte_burst = 1024 * 1024 * 1024 -- bytes; then as many in a day
onion_account_bytes_per_second = 12 * 1024
account_contacts = 2000                 -- all are sent at a log-in: 200 kB
account_nodes = 200                     -- the older OMEMO has one for each device
account_private = 50                    -- of what clients keep in private storage
account_sessions = 50                   -- devices, and circuits that died in a day
account_rooms = 50                      -- made by it, and still there

-- Ceilings, for strangers of other servers --------------------------------------------

-- Who is no contact, and was never written to. More is refused, told to the sender and
-- counted; contacts notice nothing. A message of more than 16 kB counts as several.
stranger_messages = 60                  -- of one sender: a talk, keys and receipts too;
stranger_messages_per_minute = 6        -- then as many as somebody writes
stranger_server_messages = 300          -- of all senders of one server, for one that
stranger_server_messages_per_minute = 60 -- invents them
stranger_recipient_messages = 300       -- to one account, from whoever it is: names are
stranger_recipient_messages_per_minute = 60 -- free, and a bot has many strangers
stranger_messages_while_away = 200      -- kept for who is not there: a screen of them
stranger_requests = 200                 -- that wait for an answer: a person reads no more,
                                        -- and Prosody writes all of them for each new one
stranger_requests_of_server = 50        -- of them from one server, so that four are needed
stranger_server_requests = 50           -- and no more than that
stranger_server_requests_per_hour = 50  -- in an hour, also if they are refused meanwhile
-- Somebody of another server, whom nobody here has in their contacts or wrote to, pays
-- for each day with a hash that begins with so many zero bits; 0 asks for nothing. 18
-- are a quarter of a second of our clients' work, 20 a whole one. Other clients are told in words.
stamp_bits = @STAMP_BITS@

-- What is kept ----------------------------------------------------------------------

-- In memory, what nobody has fetched ends with Prosody: archives, also of rooms, and
-- messages for who is away. Accounts, contacts, keys and files are on the disk anyway.
default_storage        = "internal"
storage                = "@ARCHIVE@" == "memory" and {
	archive = "memory"; archive_cleanup = "memory"; offline = "memory";
	muc_log = "memory"; muc_log_cleanup = "memory";
} or "internal"
archive_expires_after  = "1w"           -- a holiday; who has the disk has a week
default_archive_policy = true           -- a second device finds what it missed
-- A page: each costs a round trip, and with "internal" storage on 0.12 a reading of the
-- whole archive. Clients get what they ask for, 20 to 50 mostly; ours asks for as many as
-- come soon, and for 250 in a room. A page this large is more than smacks_max_queue_size:
-- who loses the circuit in the middle of it logs in anew, instead of going on with the
-- stream.
max_archive_query_results = 1000
mam_smart_enable       = false
pep_max_items          = 256            -- an OMEMO device list grows, a bundle per device

-- The service -----------------------------------------------------------------------

VirtualHost "@ONION@"
	name = "XMPP"                   -- not which program speaks it

Component "muc.@ONION@" "muc"
	name = "Rooms"
	modules_enabled = {
		"muc_mam"; "omemo_slim";
		"room_history_once";             -- in the archive alone, which forgets in time
		"room_limits";                   -- how many one account makes
		"room_moderation";               -- owners and admins take out what must not stay
	}
	restrict_room_creation          = "local"
	muc_room_default_public         = false
	muc_room_default_members_only   = true -- OMEMO has to know who is there
	muc_room_default_public_jids    = true -- and which account each one is
	muc_room_default_persistent     = true
	muc_log_expires_after           = "1w" -- as archive_expires_after
	max_history_messages            = 50   -- a screen; the archive has the rest
	muc_tombstones                  = true

Component "share.@ONION@" "http_file_share"
	name = "Files"
	modules_enabled = { "plain_http"; "share_resume" } -- what ours know, see README.md
	http_host                    = "@ONION@"
	-- Others' clients store nothing without TLS, and read every aesgcm: link as HTTPS.
	http_external_url            = "https://@ONION@/"
	http_file_share_size_limit   = 16 * 1024 * 1024        -- bytes of an object; a larger
	                                                       -- file is several
	http_file_share_daily_quota  = 3 * 1024 * 1024 * 1024  -- bytes, for each account
	http_file_share_global_quota = 10 * 1024 * 1024 * 1024 -- bytes, for everybody
	http_file_share_expires_after = 3 * 86400  -- seconds: a weekend, as the links are sent

-- Names that it had -----------------------------------------------------------------

-- After `server rotate`. For a while, who logs in under such a name, and contacts and
-- members who write to an address there, are told where it went; nobody else is.
for _, was in ipairs({ @FORMER@ }) do
	VirtualHost(was.name)
		name             = "XMPP"
		authentication   = "moved"       -- the passwords are those of the new name
		moved_to         = "@ONION@"
		moved_document   = was.document  -- signed by both names
		moved_until      = was.deadline  -- Unix time
		modules_enabled  = { "moved" }
		-- What answers for somebody who lives here: nobody does.
		modules_disabled = {
			"roster"; "disco"; "user_account_management"; "carbons"; "mam"; "smacks";
			"csi_simple"; "pep"; "bookmarks"; "blocklist"; "vcard4"; "vcard_legacy";
			"private"; "ping"; "offline"; "omemo_open"; "offline_tidy";
			"early_approval"; "register_ibr"; "invites"; "invites_register"; "invites_adhoc";
			"invites_once"; "invites_rooms"; "invite_page"; "tombstones"; "fast_login";
			"resumption";
			"names_quiet";           -- the new name's does it for both
			"stranger_limits"; "stamps"; "presence"; "message"; "iq";
		}

	Component("muc."..was.name)("moved")
		name             = "Rooms"
		moved_to         = "muc.@ONION@"
		moved_document   = was.document
		moved_until      = was.deadline
end
