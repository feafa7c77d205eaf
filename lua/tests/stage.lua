-- moonport: globals raw_stage
-- What the tests beside this file use. `raw_stage` comes from the Rust test.

local KEY = "[" .. string.rep("9,", 31) .. "9]"

Stage = {}
Stage.__index = function(self, name)
	return Stage[name] or function(this, ...)
		return this.raw[name](this.raw, ...)
	end
end

function stage(source, options)
	return setmetatable({ raw = raw_stage(source, options) }, Stage)
end

-- The listener is up.
function Stage:up(listener)
	self:host(('{"Listening":{"listener":%d,"addresses":[]}}'):format(listener))
	self:turn()
end

-- A peer has proved its key.
function Stage:request(listener, session, new)
	self:host(
		('{"Request":{"listener":%d,"session":%d,"key":%s,"tags":"demo","endpoint":"192.0.2.7:4000","new":%s,"carries":"Events","anonymous":false,"scheme":"A12","zmtp":null}}'):format(
			listener,
			session,
			KEY,
			tostring(new or false)
		)
	)
	self:turn()
end

-- The client says something; `event` is JSON.
function Stage:event(session, event, channel, link)
	self:link(
		link or 1,
		('{"Event":{"segment":{"session":%d,"channel":%d},"event":%s}}'):format(session, channel or 0, event)
	)
end

function Stage:register(session, title, channel)
	self:event(
		session,
		('{"Register":{"title":"%s","kind":10,"guid":[0,0]}}'):format(title or "t"),
		channel
	)
	self:turn()
end

function Stage:message(session, text)
	self:event(session, ('{"Message":{"text":"%s","multipart":false}}'):format(text))
	self:turn()
end

function Stage:segreq(session, id, channel)
	self:event(
		session,
		('{"SegmentRequest":{"id":%d,"width":10,"height":20,"x":0,"y":0,"direction":0,"hints":0,"kind":16}}'):format(id),
		channel
	)
	self:turn()
end

function Stage:terminate(session, channel, words)
	self:link(
		1,
		('{"Terminated":{"segment":{"session":%d,"channel":%d},"last_words":"%s"}}'):format(
			session,
			channel or 0,
			words or ""
		)
	)
	self:turn()
end

-- A listener that is up and has one client of session 7, accepted and registered.
function connected(body, options)
	local s = stage(body, options)
	s:up(1)
	s:request(1, 7)
	s:register(7)
	s:said()
	s:sent()
	return s
end

-- Text as JSON has bytes.
function bytes(text)
	local numbers = {}
	for at = 1, #text do
		numbers[at] = text:byte(at)
	end
	return "[" .. table.concat(numbers, ",") .. "]"
end

-- A listener of this scheme and name with one client of session 7, accepted; `hear` is its callback.
-- The client is `about`, JSON.
function peer(scheme, name, shows, body, about)
	local s = stage(([[
		l = net_listen("%s", "%s://127.0.0.1", 5555, function(source, status)
			if status.kind == "segment_request" then
				print(%s)
				vid = accept_target(hear)
			end
		end)
	]]):format(name, scheme, shows) .. (body or ""))
	s:up(1)
	s:host(
		('{"Request":{"listener":1,"session":7,"key":%s,"tags":"%s","endpoint":"192.0.2.7:4000","new":false,%s}}'):format(
			KEY,
			name,
			about
		)
	)
	s:turn()
	s:said()
	s:sent()
	return s
end

-- What was sent, without the credit that was handed back.
function without_credit(s)
	local found = {}
	for _, message in ipairs(s:sent()) do
		if not message:find("Credit", 1, true) then
			found[#found + 1] = message
		end
	end
	return found
end

function eq(got, want)
	if type(want) == "table" then
		got, want = table.concat(got, "\n"), table.concat(want, "\n")
	end
	if got ~= want then
		error(("got\n%s\nwanted\n%s"):format(tostring(got), tostring(want)), 2)
	end
end

function has(text, part)
	if type(text) == "table" then
		text = table.concat(text, "\n")
	end
	if not text:find(part, 1, true) then
		error(("no\n%s\nin\n%s"):format(part, text), 2)
	end
end

function hasnt(text, part)
	if type(text) == "table" then
		text = table.concat(text, "\n")
	end
	if text:find(part, 1, true) then
		error(("there is\n%s\nin\n%s"):format(part, text), 2)
	end
end
