-- revoke.lua: a room with moderators, who can show somebody the door for good.
--
--     moonport run --allow-keys revoke revoke.lua             listens on port 6680
--     moonport run --allow-keys revoke revoke.lua -- 7000     listens on port 7000
--
-- Who may come in, and who moderates:
--
--     moonport key accept bert.key --scope revoke
--     moonport key accept anna.key --scope revoke,moderators
--
-- Everybody can talk and say /who; a moderator can say /revoke NAME. Then that key is not accepted
-- here any more, and whoever holds it is cut. Without --allow-keys nobody's key is touched.

local NAME, MODERATORS = "revoke", "moderators"
local INTERFACE, PORT = "127.0.0.1", 6680 -- "" instead: reachable from everywhere
local LONGEST = 2000 -- bytes in one line; more of it is dropped

-- Who is here: the client's number leads to its key, its name and the line it is in the middle of.
local people = {}

local function tell(text, except)
    for vid, person in pairs(people) do
        if vid ~= except and person.name then
            message_target(vid, text)
        end
    end
end

local function find(name)
    for _, person in pairs(people) do
        if person.name == name then
            return person
        end
    end
end

-- A name that nobody else here has, and that is one word.
local function unused(title)
    local wanted = title:gsub("[^%w_-]", "")
    wanted = wanted ~= "" and wanted or "somebody"
    local name, number = wanted, 1
    while find(name) do
        number = number + 1
        name = wanted .. number
    end
    return name
end

local function revoke(source, name)
    local function answer(text)
        if people[source] then
            message_target(source, text)
        end
    end
    local person = find(name)
    if not people[source].moderates then
        answer("only moderators can do that")
    elseif not person then
        answer("nobody here is called " .. name)
    else
        local asked, why = pcall(moonport.keys.revoke, person.key, NAME, function(status)
            -- It is on the disk, and they are gone.
            answer(status.ok and name .. " is revoked" or status.message)
        end)
        if not asked then
            answer("keys cannot be revoked here")
            print(why)
        end
    end
end

local function line(source, text)
    local person = people[source]
    local name = text:match("^/revoke%s+(%S+)$")
    if name then
        revoke(source, name)
    elseif text == "/who" then
        for _, other in pairs(people) do
            if other.name then
                message_target(source, other.name .. (other.moderates and ", a moderator" or ""))
            end
        end
    elseif text ~= "" then
        tell(person.name .. ": " .. text, source)
    end
end

local function client(source, status)
    local person = people[source]

    if status.kind == "registered" and person then
        -- It may come again, with a new title; then the name stays.
        if not person.name then
            person.name = unused(status.title)
            message_target(source, "welcome, " .. person.name)
            tell(person.name .. " has come", source)
        end

    elseif status.kind == "message" and person and person.name then
        person.begun = (person.begun .. status.message):sub(1, LONGEST)
        if not status.multipart then
            local text = person.begun
            person.begun = ""
            line(source, text)
        end

    elseif status.kind == "terminated" then
        people[source] = nil
        delete_image(source)
        if person and person.name then
            tell(person.name .. " has left")
        end
    end
end

local function door(_, status)
    if status.kind == "segment_request" then
        local vid = accept_target(client)
        local tags = "," .. status.a12_tags .. ","
        people[vid] = {
            key = status.a12_pubk,
            moderates = tags:find("," .. MODERATORS .. ",", 1, true) ~= nil,
            begun = "",
        }
    elseif status.kind == "registered" then
        print("listening")
    elseif status.kind == "terminated" then
        print("cannot listen: " .. status.last_words)
    end
end

function main(words)
    net_listen(NAME, INTERFACE, tonumber(words[1]) or PORT, door)
end
