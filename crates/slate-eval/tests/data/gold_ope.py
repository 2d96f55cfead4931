import warnings, json, logging; warnings.filterwarnings("ignore"); logging.disable(logging.INFO)
import numpy as np
from obp.ope import *
from obp.ope import SlateStandardIPS, SlateIndependentIPS, SlateRewardInteractionIPS, SelfNormalizedSlateStandardIPS, SelfNormalizedSlateIndependentIPS, SelfNormalizedSlateRewardInteractionIPS, SlateCascadeDoublyRobust
rng=np.random.default_rng(5); n,A,K=60,4,2
pb=rng.dirichlet(np.ones(A)*2,size=n); pe=np.stack([rng.dirichlet(np.ones(A),size=n) for _ in range(K)],2)
pos=rng.integers(0,K,n); a=np.array([rng.choice(A,p=pb[i]) for i in range(n)]); r=(rng.random(n)<.3).astype(float); q=rng.random((n,A,K))*.5; ps=pb[np.arange(n),a]
kw=dict(reward=r,action=a,position=pos,pscore=ps,action_dist=pe,estimated_rewards_by_reg_model=q)
E={"ReplayMethod":ReplayMethod(),"DM":DirectMethod(),"IPW":InverseProbabilityWeighting(),"IPW(clip lambda=2)":InverseProbabilityWeighting(lambda_=2.0),"SNIPW":SelfNormalizedInverseProbabilityWeighting(),"DR":DoublyRobust(),"DR(clip lambda=2)":DoublyRobust(lambda_=2.0),"SNDR":SelfNormalizedDoublyRobust(),"SwitchDR(1.0)":SwitchDoublyRobust(lambda_=1.0),"DRos(1.0)":DoublyRobustWithShrinkage(lambda_=1.0),"SGIPW(0.1)":SubGaussianInverseProbabilityWeighting(lambda_=0.1),"SGDR(0.1)":SubGaussianDoublyRobust(lambda_=0.1)}
est={k:float(v.estimate_policy_value(**kw)) for k,v in E.items()}
rounds={k:v._estimate_round_rewards(**kw).tolist() for k,v in E.items() if k not in("ReplayMethod",)}
L=[.5,1.,2.,5.,np.inf]
tun={k:dict(value=float(t.estimate_policy_value(**kw)),best=float(t.best_hyperparam)) for k,t in {"SwitchDRTuning_slope":SwitchDoublyRobustTuning(lambdas=L),"DRosTuning_slope":DoublyRobustWithShrinkageTuning(lambdas=L),"SwitchDRTuning_mse":SwitchDoublyRobustTuning(lambdas=L,tuning_method="mse"),"DRosTuning_mse":DoublyRobustWithShrinkageTuning(lambdas=L,tuning_method="mse")}.items()}
w=pe[np.arange(n),a,pos]/ps
print(est); print(tun)
# slate
S,ns=3,40; sid=np.repeat(np.arange(ns),S); sp=np.tile(np.arange(S),ns); rr=(rng.random(ns*S)<.4).astype(float)
pi=rng.uniform(.1,.6,ns*S); pc=np.concatenate([np.cumprod(rng.uniform(.2,.7,S)) for _ in range(ns)]); pj=np.repeat(pc.reshape(ns,S)[:,-1],S)
ei=rng.uniform(.05,.6,ns*S); ec=np.concatenate([np.cumprod(rng.uniform(.2,.7,S)) for _ in range(ns)]); ej=np.repeat(ec.reshape(ns,S)[:,-1],S)
sl=dict(slate_id=sid.tolist(),position=sp.tolist(),reward=rr.tolist(),pscore_joint=pj.tolist(),pscore_item_position=pi.tolist(),pscore_cascade=pc.tolist(),eval_joint=ej.tolist(),eval_item_position=ei.tolist(),eval_cascade=ec.tolist())
o={}
o["SlateStandardIPS"]=float(SlateStandardIPS(len_list=S).estimate_policy_value(slate_id=sid,reward=rr,position=sp,pscore=pj,evaluation_policy_pscore=ej))
o["SlateIndependentIPS"]=float(SlateIndependentIPS(len_list=S).estimate_policy_value(slate_id=sid,reward=rr,position=sp,pscore_item_position=pi,evaluation_policy_pscore_item_position=ei))
o["SlateRewardInteractionIPS"]=float(SlateRewardInteractionIPS(len_list=S).estimate_policy_value(slate_id=sid,reward=rr,position=sp,pscore_cascade=pc,evaluation_policy_pscore_cascade=ec))
o["SNSlateStandardIPS"]=float(SelfNormalizedSlateStandardIPS(len_list=S).estimate_policy_value(slate_id=sid,reward=rr,position=sp,pscore=pj,evaluation_policy_pscore=ej))
o["SNSlateIndependentIPS"]=float(SelfNormalizedSlateIndependentIPS(len_list=S).estimate_policy_value(slate_id=sid,reward=rr,position=sp,pscore_item_position=pi,evaluation_policy_pscore_item_position=ei))
o["SNSlateRewardInteractionIPS"]=float(SelfNormalizedSlateRewardInteractionIPS(len_list=S).estimate_policy_value(slate_id=sid,reward=rr,position=sp,pscore_cascade=pc,evaluation_policy_pscore_cascade=ec))
NA=4
ac=rng.integers(0,NA,ns*S); qh=rng.random(ns*S*NA)*.5; ed=rng.dirichlet(np.ones(NA),size=ns*S).ravel()
try:
    o["SlateCascadeDR"]=float(SlateCascadeDoublyRobust(len_list=S,n_unique_action=NA).estimate_policy_value(slate_id=sid,action=ac,reward=rr,position=sp,pscore_cascade=pc,evaluation_policy_pscore_cascade=ec,q_hat=qh,evaluation_policy_action_dist=ed)); sl.update(action=ac.tolist(),q_hat=qh.tolist(),eval_action_dist=ed.tolist(),n_unique_action=NA)
except Exception as e: print("cascade",repr(e)[:300])
print(o)
json.dump(dict(obp="0.5.5",contextual=dict(n=n,n_actions=A,len_list=K,reward=r.tolist(),action=a.tolist(),position=pos.tolist(),pscore=ps.tolist(),action_dist_nAK=pe.tolist(),q_hat_nAK=q.tolist(),estimates=est,round_rewards=rounds,tuned=tun,tuned_lambdas=["0.5","1","2","5","inf"],ess=float(w.sum()**2/(w**2).sum())),slate=dict(inputs=sl,estimates=o)),open("ope.json","w"))
