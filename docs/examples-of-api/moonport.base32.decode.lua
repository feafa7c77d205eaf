print(moonport.base32.decode("NVXW63Q=")) --> moon
