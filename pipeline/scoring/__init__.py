"""How good a run is: the field's scores, how sure they are, and by which protocol."""
