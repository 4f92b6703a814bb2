"""What the folder of a run tells, without jax: the law of entropy and reward, diagnoses, pictures, a page."""
