//! request_id: a repeat sends nothing that is settled, and other items under it are refused.
