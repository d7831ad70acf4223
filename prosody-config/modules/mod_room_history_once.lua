-- Keeps what was said in a room once: in the archive, where it is removed in its time.
--
-- Prosody keeps the last messages of a room in memory as well, and writes them to the
-- disk with the room when it stops, where they stay until others take their place. Who
-- enters gets the history from the archive anyway, unless the room has none (mod_muc_mam).
-- For a "muc" component, on Prosody 0.12 and 13.0.
module:hook("muc-broadcast-message", function (event)
	if event.room._data.archiving ~= false then event.room._history = nil; end
end, -100); -- after it was kept
