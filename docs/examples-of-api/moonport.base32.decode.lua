print(moonport.base32.decode("NVXW63Q="), moonport.base32.decode("nvxw63q=")) --> moon	nil
