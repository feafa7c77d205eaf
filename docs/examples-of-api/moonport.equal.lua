-- Whether a client knows the word; how long that takes tells nobody how much of it was right.
local WORD = "sesame"
print(moonport.equal("sesame", WORD), moonport.equal("sesam", WORD)) --> true	false
