"""Makes a name for a service without one: two words, like Docker's adjective and scientist."""

import random

_FIRST = """
amber ancient bold brave brisk bright busy calm candid clever coral deep eager early fair fearless gentle
golden grand happy hardy honest jolly keen kind lively lucid merry mighty misty modest nimble noble patient
placid proud quiet rapid rosy salty serene sharp silent silver sleek steady stormy sunny swift tidal tranquil
vivid warm wise
"""
_SECOND = """
albacore anchovy angelfish barbel barracuda bass bluefish bonito bream brill burbot capelin carp char cod dace
dorado eel flounder garfish goby grayling grouper gudgeon gurnard haddock hake halibut herring ide lamprey
ling mackerel marlin minnow mullet perch pike pilchard plaice pollock roach ruffe salmon sardine shad skate
smelt sole sprat sturgeon tarpon tench trout tuna turbot wahoo whiting wrasse zander
"""


def random_name(rng: random.Random) -> str:
    """Return a valid name for a service. As in Docker, it may be taken."""
    return f"{rng.choice(_FIRST.split())}_{rng.choice(_SECOND.split())}"
