-- moonport: globals stage connected eq has hasnt
-- Runs an example of the API, as lamp.lua. Around it are a host that says yes to everything, and a client on each
-- listener: "anna", who says "moon", has an option "volume", shows a picture and asks for a popup; or,
-- where messages have parts, says "moon" "light"; or, in a stream, both as lines. She is the one whose key
-- is known for "lamp". Programs end at once, with code 0.
--
-- What the example prints has to be what it says in `--> TEXT`, line by line in any order, and what is
-- reported of it in `--! TEXT`; and it has to call the function that it is an example of. What cannot be
-- run here says so in its first line: `-- not run by tests: WHY`.

local KEY = "[" .. string.rep("9,", 31) .. "9]"

local CARRIES = {
	a12 = '"Events"',
	zmtp = '{"Messages":{"socket":"router","most":1000,"high_water":1000}}',
	curvecp = '{"Stream":{"writable":true}}',
}
local SCHEME = { a12 = "A12", zmtp = "Zmtp", curvecp = "CurveCp" }

local function bytes(text)
	local numbers = {}
	for at = 1, #text do
		numbers[at] = text:byte(at)
	end
	return "[" .. table.concat(numbers, ",") .. "]"
end

local function segment(session, channel)
	return ('"segment":{"session":%d,"channel":%d}'):format(session, channel or 0)
end

local function piece(s, link, session, text, ends)
	s:link(link, ('{"Piece":{%s,"bytes":%s,"ends":"%s"}}'):format(segment(session), bytes(text), ends))
end

-- What clients are told in place of their session: which protocol, on which link.
local Show = {}
Show.__index = Show

function Show:listen(listener, interface, protocol)
	local scheme = interface:match("^(%w+)://") or protocol or "a12"
	local session = listener + 6
	self.s:host(('{"Listening":{"listener":%d,"addresses":[]}}'):format(listener))
	self.s:turn()
	self.s:host(
		('{"Request":{"listener":%d,"session":%d,"key":%s,"tags":"lamp","endpoint":"192.0.2.7:4000","new":true,"carries":%s,"anonymous":false,"scheme":"%s","zmtp":%s}}'):format(
			listener,
			session,
			KEY,
			CARRIES[scheme],
			SCHEME[scheme],
			scheme == "zmtp" and '{"socket_type":"dealer","identity":[],"properties":[]}' or "null"
		)
	)
	self.clients[session] = { link = listener, scheme = scheme }
end

function Show:accepted(session)
	local s, client = self.s, self.clients[session]
	client.here = true
	if client.served then
		s:link(client.link, ('{"Exited":{%s,"exit":{"Code":0}}}'):format(segment(session)))
		return
	end
	if client.scheme == "zmtp" then
		piece(s, client.link, session, "moon", "Part")
		piece(s, client.link, session, "light", "Message")
	elseif client.scheme == "curvecp" then
		piece(s, client.link, session, "moon\nlight\n", "Nothing")
		s:turn()
		s:link(client.link, ('{"Finished":{%s,"failed":false}}'):format(segment(session)))
	else
		s:event(session, '{"Register":{"title":"anna","kind":10,"guid":[0,0]}}', 0, client.link)
	end
end

function Show:activated(session, channel)
	local s, link = self.s, self.clients[session].link
	if channel ~= 0 then
		return
	end
	s:event(session, '{"Message":{"text":"moon","multipart":false}}', 0, link)
	s:turn()
	s:event(session, '{"CoreOption":{"index":3,"kind":0,"text":"volume"}}', 0, link)
	s:link(link, ('{"Resized":{%s,"width":640,"height":480,"origin_ll":false,"text":false}}'):format(segment(session)))
	if self.verbose then
		s:link(link, ('{"Frame":{%s,"number":1,"at":[0,0],"region":[640,480]}}'):format(segment(session)))
	end
	s:event(
		session,
		'{"SegmentRequest":{"id":1,"width":10,"height":20,"x":0,"y":0,"direction":0,"hints":0,"kind":16}}',
		0,
		link
	)
end

function Show:window(listener, id, event, left, label)
	label = label or "null"
	self.s:host(
		('{"Windows":{"listener":%d,"windows":[{"window":%s,"label":%s,"left":%d,"enrolled":0,"open":%s,"ends_ms":9000000000000}]}}'):format(
			listener,
			id,
			label,
			left,
			tostring(event == "Opened")
		)
	)
	self.s:host(
		('{"Window":{"listener":%d,"event":"%s","left":%d,"window":%s,"label":%s}}'):format(listener, event, left, id, label)
	)
end

-- Answers what the script has said to the host.
function Show:host(said)
	local number = function(field)
		return tonumber(said:match('"' .. field .. '":(%d+)'))
	end
	if said:find('^{"Listen"') then
		self:listen(number("listener"), said:match('"interface":"([^"]*)"'))
	elseif said:find('^{"Connect"') then
		local link = number("connection")
		self.s:host(('{"Listening":{"listener":%d,"addresses":[]}}'):format(link))
		self.s:turn()
		self.s:link(link, ('{"Connected":{%s}}'):format(segment(3)))
		piece(self.s, link, 3, "moon", "Part")
		piece(self.s, link, 3, "light", "Message")
	elseif said:find('^{"OpenWindow"') then
		local id, label = said:match('"window":(%d+)'), said:match('"label":("[^"]*")')
		self:window(number("listener"), id, "Opened", number("count"), label)
	elseif said:find('^{"CloseWindow"') then
		self:window(number("listener"), said:match('"window":(%d+)'), "Closed", 1)
	elseif said:find('^{"Exec"') then
		self.clients[number("session")].served = true
	elseif said:find('^{"Keys"') then
		local known = ('{"key":%s,"label":"Anna","standing":"accepted","expires_ms":null,"elsewhere":false}'):format(KEY)
		local listed = said:find('"List"', 1, true) and known or ""
		self.s:host(('{"Keys":{"call":%d,"answer":{"Ok":[%s]},"more":false}}'):format(number("call"), listed))
	elseif said:find('^{"Decide"') and said:find('"accept":true') then
		self:accepted(number("session"))
	end
end

-- Answers what the script has said to a client.
function Show:client(sent)
	local session, channel = sent:match('"session":(%d+),"channel":(%d+)')
	session, channel = tonumber(session), tonumber(channel)
	if sent:find('"Flags"', 1, true) and sent:find('"verbose":true', 1, true) then
		self.verbose = true
	elseif sent:find('"Activate"', 1, true) then
		self:activated(session, channel)
	elseif sent:find('"Open"', 1, true) then
		local link = self.clients[session].link
		self.s:link(link, ('{"Opened":{%s,"cookie":%s}}'):format(segment(session, 1), sent:match('"cookie":(%d+)')))
		self.s:turn()
		self.s:event(session, '{"Register":{"title":"popup","kind":16,"guid":[0,0]}}', 1, link)
	elseif sent:find('"Close"', 1, true) and channel == 0 and self.clients[session] then
		self.clients[session].here = false
	end
end

-- Goes on until nobody has anything to say.
function Show:settle()
	repeat
		self.s:turn()
		local said, sent = self.s:said(), self.s:sent()
		for _, message in ipairs(said) do
			self:host(message)
		end
		for _, message in ipairs(sent) do
			self:client(message)
		end
	until #said == 0 and #sent == 0
end

-- The texts after a mark.
local function after(source, mark)
	local found = {}
	for line in source:gmatch("[^\n]+") do
		local at = line:find(mark, 1, true)
		if at then
			found[#found + 1] = line:sub(at + #mark)
		end
	end
	return found
end

return function(name, source)
	if source:find("^%-%- not run by tests: ") then
		return
	end
	local watch = ""
	local method = name:match(":.*")
	if method then
		has(source, method .. "(")
	elseif name ~= "entry_points" then
		watch = ("do local f = %s %s = function(...) CALLED = true return f(...) end end "):format(name, name)
	end
	local s = stage(watch .. source, { appl = "lamp" })
	local show = setmetatable({ s = s, clients = {} }, Show)
	show:settle()
	s:turn(1000)
	show:settle()
	for session, client in pairs(show.clients) do
		if client.here then
			s:link(client.link, ('{"Terminated":{%s,"last_words":""}}'):format(segment(session)))
		end
	end
	show:settle()
	s:host('"Stop"')
	show:settle()
	local reports = s:err()
	local out, said = s:out(), after(source, "--> ")
	table.sort(out)
	table.sort(said)
	eq(out, said)
	for _, report in ipairs(after(source, "--! ")) do
		has(reports, report)
		reports = ""
	end
	eq(reports, "")
	eq(s:exit(), 0)
	if watch ~= "" and not s:get("CALLED") then
		error("it does not call " .. name)
	end
end
