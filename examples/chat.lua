-- chat.lua: a room in which everybody hears everybody.
--
--     moonport run chat.lua               listens on port 6680
--     moonport run chat.lua -- 7000       listens on port 7000
--
-- Let three people in, who then need no secret any more:
--
--     moonport window open chat --count 3
--     moonport connect 127.0.0.1 --ask-secret --name alice --tag chat
--
-- The client is Moonport's own here; Arcan's programs are clients as well.
--
-- Besides talking they can say /who and /leave.

local INTERFACE, PORT = "127.0.0.1", 6680 -- "" instead: reachable from everywhere
local LONGEST = 2000 -- bytes in one line; more of it is dropped

-- Who is here: the client's number leads to its name and to the line it is in the middle of.
local people = {}

local function tell(text, except)
    for person in pairs(people) do
        if person ~= except then
            message_target(person, text)
        end
    end
end

-- A name that nobody else here has.
local function unused(title)
    local taken = {}
    for _, person in pairs(people) do
        taken[person.name] = true
    end
    local wanted = title ~= "" and title or "somebody"
    local name, number = wanted, 1
    while taken[name] do
        number = number + 1
        name = wanted .. " " .. number
    end
    return name
end

local function names()
    local all = {}
    for _, person in pairs(people) do
        table.insert(all, person.name)
    end
    table.sort(all)
    return table.concat(all, ", ")
end

local function leave(source)
    local person = people[source]
    people[source] = nil
    delete_image(source)
    if person then
        tell(person.name .. " has left")
    end
end

local function line(source, text)
    if text == "/who" then
        message_target(source, "here: " .. names())
    elseif text == "/leave" then
        leave(source)
    elseif text ~= "" then
        tell(people[source].name .. ": " .. text, source)
    end
end

local function client(source, status)
    local person = people[source]

    if status.kind == "registered" then
        -- It may come again, with a new title; then the name stays.
        if not person then
            local name = unused(status.title)
            tell(name .. " has come")
            people[source] = { name = name, begun = "" }
            message_target(source, "welcome, " .. name .. "; here: " .. names())
        end

    elseif status.kind == "message" and person then
        person.begun = (person.begun .. status.message):sub(1, LONGEST)
        if not status.multipart then
            local text = person.begun
            person.begun = ""
            line(source, text)
        end

    elseif status.kind == "terminated" then
        leave(source)
    end
end

local function door(_, status)
    if status.kind == "segment_request" then
        accept_target(client)
    elseif status.kind == "registered" then
        print("listening")
    elseif status.kind == "terminated" then
        print("cannot listen: " .. status.last_words)
    end
end

function chat(words)
    net_listen("chat", INTERFACE, tonumber(words[1]) or PORT, door)
end
