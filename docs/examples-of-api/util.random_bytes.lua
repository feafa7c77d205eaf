-- A token that nobody guesses.
local token = util.to_base64(util.random_bytes(24))
print(#token) --> 32
