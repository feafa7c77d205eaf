-- Forgets nothing: shows all that is kept of lamps.
store_key({ lamp_hall = "on", lamp_porch = "off", door = "open" })
for _, pair in ipairs(match_keys("lamp_%")) do
    local key, value = pair:match("^(.-)=(.*)$")
    print(key, value)
    --> lamp_hall	on
    --> lamp_porch	off
end
