-- Which messages a peer has, without a server. mod_smacks does not do it on a stream
-- that dialback authenticated, and a broken circuit would lose what was under way. So a
-- peer is asked for an answer, any answer, behind the messages: it handles a stream in
-- its order.
local watch = {};

-- Returns a watch over one stream.
--   ask(number)  is called when the peer should be asked; asked once at a time
function watch.new(ask)
	local stream, copies, sent, confirmed, asked = {}, {}, 0, 0, nil;

	-- A message is about to go. A copy is kept until the peer has it.
	function stream.sends(message)
		sent = sent + 1;
		copies[sent] = message;
		if not asked then
			asked = sent;
			ask(sent);
		end
	end

	-- The question goes now: it is behind all that was sent.
	function stream.asks() asked = sent; end

	-- The peer answered: it has what was sent before the question, and that is returned.
	function stream.hears()
		local had = {};
		if not asked then return had; end
		for number = confirmed + 1, asked do
			table.insert(had, copies[number]);
			copies[number] = nil;
		end
		confirmed, asked = asked, nil;
		if sent > confirmed then
			asked = sent;
			ask(sent);
		end
		return had;
	end

	-- Whether the question of a number is still open.
	function stream.waits_since(number) return confirmed < number; end

	function stream.count() return sent - confirmed; end

	-- Returns what the peer perhaps does not have, in its order.
	function stream.unconfirmed()
		return table.move(copies, confirmed + 1, sent, 1, {});
	end

	return stream;
end

return watch;
