-- Raw bytes rather than hex digits.
print(#moonport.blake3("abc", true)) --> 32
