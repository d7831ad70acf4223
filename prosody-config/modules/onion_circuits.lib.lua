-- What mod_onion_circuits decides without a server: whose connection Tor announces,
-- and whether somebody has had enough.
local circuits = {};

-- The longest line that may stand before a connection (PROXY protocol, version 1).
circuits.longest_line = 107;

-- "PROXY TCP6 fc00:dead:beef:4dad::HIGH:LOW ::1 PORT VIRTUAL", without its end: Tor puts
-- the number of a circuit into the last 32 bits of an address that nobody has
-- (tor(1), HiddenServiceExportCircuitID). Returns that number, the one that
-- CLOSECIRCUIT takes, and the port that was asked for; nil for anything else.
function circuits.read(line)
	local high, low, port, virtual =
		line:match("^PROXY TCP6 fc00:dead:beef:4dad::(%x+):(%x+) ::1 (%d+) (%d+)$");
	if not high or #high > 4 or #low > 4 or #virtual > 5 then return nil; end
	low = tonumber(low, 16);
	if low ~= tonumber(port) then return nil; end -- Tor says it twice
	return tonumber(high, 16) * 65536 + low, tonumber(virtual);
end

-- Something that runs out when it is used and fills up again with time.
local bucket = {};
bucket.__index = bucket;

function circuits.bucket(size, per_second, now)
	return setmetatable({ size = size; rate = per_second; level = size; at = now }, bucket);
end

-- Takes from it, and tells whether there was enough.
function bucket:take(amount, now)
	if now > self.at then -- a clock that is set back gives nothing, and takes nothing
		self.level = math.min(self.size, self.level + (now - self.at) * self.rate);
	end
	self.at = now;
	self.level = self.level - amount;
	if self.level >= 0 then return true; end
	self.level = 0;
	return false;
end

return circuits;
