-- For secrets: how long it takes says nothing of where they differ.
print(moonport.equal("sesame", "sesame"), moonport.equal("sesame", "open")) --> true	false
