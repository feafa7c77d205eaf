-- enrol.lua: opens a window for new machines, and counts down while it is open.
--
--     moonport run enrol.lua                   listens on port 6680
--     moonport run enrol.lua -- 7000 2 60      on port 7000; lets two in, within 60 seconds, at once
--
-- With a number of machines, the secret is printed here, and so is what becomes of the window. A new
-- machine types it into Moonport's own client; Arcan's clients know it as the secret of a host:
--
--     moonport connect 127.0.0.1 --ask-secret --tag home
--
-- Later windows are opened by admins: keys that are accepted for one more name. What `moonport key own`
-- prints on the admin's machine is accepted here, and then the admin connects and says `open`:
--
--     moonport key accept KEY --scope enrol,admins
--     moonport connect 127.0.0.1 --tag home
--     open 2 60                                lets two machines in, within 60 seconds
--     close                                    ends all windows

local INTERFACE, PORT = "127.0.0.1", 6680 -- "" instead: reachable from everywhere

local listener
local admins = {} -- by their vids
local told = {} -- by a window's number: how many seconds it had left when that was last told

local function tell(text)
    print(text)
    for admin in pairs(admins) do
        message_target(admin, text)
    end
end

local function is_admin(request)
    return ("," .. request.a12_tags .. ","):find(",admins,", 1, true) ~= nil
end

-- The secret is for whoever asked, and for nobody else: `tell_asker` is how he is told.
local function open(count, seconds, tell_asker)
    local ok, window = pcall(moonport.window, { listener = listener, count = count, for_s = seconds })
    if ok then
        tell_asker("the secret: " .. window.secret)
    else
        tell_asker("no window: " .. window)
    end
end

local function close_all()
    for _, window in ipairs(moonport.windows(listener)) do
        if window.open then
            moonport.close_window(listener, window.id)
        end
    end
end

-- At once, every ten seconds, and each of the last five.
local function countdown()
    for _, window in ipairs(moonport.windows(listener)) do
        local left, last = math.ceil(window.ends_in_s), told[window.id]
        if not window.open then
            told[window.id] = nil
        elseif not last or (left < last and (left % 10 == 0 or left <= 5)) then
            told[window.id] = left
            tell(("%d s left for %d more"):format(left, window.left))
        end
    end
end

local function command(source, text)
    local verb, count, seconds = text:match("^(%a+)%s*(%d*)%s*(%d*)$")
    if verb == "open" then
        open(tonumber(count) or 1, tonumber(seconds) or 60, function(answer)
            message_target(source, answer)
        end)
    elseif verb == "close" then
        close_all()
    else
        message_target(source, "say: open COUNT SECONDS, or close")
    end
end

local function client(source, status)
    if status.kind == "registered" then
        message_target(source, admins[source] and "welcome, admin" or "welcome")
    elseif status.kind == "message" and admins[source] then
        command(source, status.message)
    elseif status.kind == "terminated" then
        admins[source] = nil
        delete_image(source)
    end
end

local function door(_, status)
    if status.kind == "segment_request" then
        local admin, new = is_admin(status), status.a12_new
        local source = accept_target(client)
        if valid_vid(source) then
            admins[source] = admin or nil
            if new then
                tell("a new machine: " .. status.a12_pubk)
            end
        end
    elseif status.kind == "window" and status.event ~= "enrolled" then
        tell("the window: " .. status.event)
    elseif status.kind == "registered" then
        print("listening")
    elseif status.kind == "terminated" then
        print("cannot listen: " .. status.last_words)
    end
end

function enrol(words)
    listener = net_listen("enrol", INTERFACE, tonumber(words[1]) or PORT, door)
    if words[2] then
        open(tonumber(words[2]), tonumber(words[3]) or 60, print)
    end
end

-- 40 times a second.
function enrol_clock_pulse(clock)
    if clock % 10 == 0 and valid_vid(listener, TYPE_FRAMESERVER) then
        countdown()
    end
end
