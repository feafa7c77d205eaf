-- A token that nobody guesses.
print(#moonport.base32.encode(moonport.random(20))) --> 32
