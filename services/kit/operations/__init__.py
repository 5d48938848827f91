"""What operators ask of a service: is it alive and ready, how much does it keep, what needs a person.

heartbeats      when each part of each process was last at work
push_failures   what senders pushed and was refused, by the hour
figures         all of it read together
metrics         as Prometheus has it (docs/operations-metrics.md)
doors           GET /<prefix>/{livez,readyz,metrics,counts,operations}
"""

from services.kit.operations.doors import Counts, router
from services.kit.operations.figures import VERSION, Contribution
from services.kit.operations.heartbeats import Beats
from services.kit.operations.keeping import operating
from services.kit.operations.push_failures import PushFailures

__all__ = ["VERSION", "Beats", "Contribution", "Counts", "PushFailures", "operating", "router"]
