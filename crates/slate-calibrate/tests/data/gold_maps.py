# Reference fits of probability calibrators -> maps.json.  Run: venv/bin/python gold_maps.py
import os
for k in ("OMP_NUM_THREADS","OPENBLAS_NUM_THREADS","MKL_NUM_THREADS"): os.environ[k]="1"
import json, warnings, importlib.metadata as md
from fractions import Fraction as Fr
import numpy as np, scipy, sklearn, statsmodels.api as sm
from scipy.interpolate import BSpline
from scipy.optimize import minimize, minimize_scalar, lsq_linear, isotonic_regression
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from betacal import BetaCalibration
from venn_abers import VennAbers
warnings.filterwarnings("ignore")
L=np.longdouble
def sp(z): return np.logaddexp(z,z.dtype.type(0))                 # ln(1+e^z), also in longdouble
def sig(z): e=np.exp(-np.abs(z)); return np.where(z>=0,1/(1+e),e/(1+e))
def fl(a): return [float(v) for v in a]

# ---------------------------------------------------------------- data
def make(name,seed,n,draw,true_p,weighted,grid=None,desc=""):
    r=np.random.default_rng(seed)
    s=draw(r,n)
    if grid: s=np.round(s/grid)*grid
    s=np.round(s,6)+0.0
    y=(r.random(n)<true_p(s)).astype(int)
    w=np.round(r.gamma(2,.6,n)+.05,4) if weighted else None
    lo,hi=s.min(),s.max(); u=np.unique(s)
    q=[lo-3,lo-.5,lo,hi,hi+.5,hi+3]
    vals,cnt=np.unique(s,return_counts=True)
    q+=list(r.choice(u[1:-1],8,replace=False))                     # calibration scores (ties with the added row)
    q+=list(np.round(r.uniform(lo,hi,25-len(q)),6))
    q=np.round(np.array(q,float),6)+0.0
    q=q[r.permutation(25)]
    return dict(name=name,desc=desc,seed=seed,s=s,y=y,w=w,q=q)
N=lambda m,d: (lambda r,n: r.normal(m,d,n))
HUMP=lambda s: np.where(s<0,expit(1.6*s+1),expit(1-1.0*s))
# seeds of sets 1, 2 and 6 were picked (scan) so that the fits exercise: beta dropping a / b, active spline constraints,
# removed quantile knots, equidistant histogram cuts, capped power predictions
SETS=[
 make("small_plain",159,40,N(0,1.5),lambda s: expit(.9*s+.2),False,desc="n=40, no ties; beta drops a; power capped"),
 make("ties_grid",301,300,lambda r,n: np.maximum(r.normal(-.3,1.6,n),-1.6),lambda s: expit(.8*s-.3),False,grid=.5,desc="s on a grid of 0.5, floored at -1.5 (many ties at the lowest score), unweighted; duplicate quantile knots; beta drops a"),
 make("rare",33,400,N(-3.6,1.1),lambda s: expit(s-.2),False,desc="2-4% positives"),
 make("overconfident",44,250,N(0,2.5),lambda s: expit(.5*s-1),True,desc="true logit = 0.5 s - 1, weighted"),
 make("beta_asym",55,200,N(.3,1.7),lambda s: expit(-1.8*np.logaddexp(0,-s)+.4*np.logaddexp(0,s)+1.2),True,desc="true beta map a=1.8 b=0.4 c=1.2, weighted; power capped"),
 make("ties_weighted_hump",250,150,N(.2,1.4),HUMP,True,grid=.25,desc="non-monotone truth (hump), s on a grid of 0.25, weighted; beta drops b; T far from 1"),
]

# ---------------------------------------------------------------- Newton on exact derivatives (longdouble gradients)
def newton(fun,x,maxit=200):
    """fun(x)->(f,g,H) in longdouble, convex.  Returns x, f, |g|_inf."""
    x=np.asarray(x,L); f,g,H=fun(x); best=(np.abs(g).max(),x,f)
    for _ in range(maxit):
        d=-np.linalg.solve(H.astype(float),g.astype(float)).astype(L)
        t=L(1)
        while True:
            xn=x+t*d; fn,gn,Hn=fun(xn)
            if np.isfinite(fn) and fn<=f+1e-4*t*(g@d)+1e-16*np.abs(f): break
            t/=2
            if t<1e-12: break
        if t<1e-12: break
        x,f,g,H=xn,fn,gn,Hn
        if np.abs(g).max()<best[0]: best=(np.abs(g).max(),x,f)
        elif np.abs(g).max()<1e-13: break
        if np.abs(g).max()==0: break
    return best[1],best[2],float(best[0])
def logistic(X,y,w):
    X=X.astype(L); y=y.astype(L); w=w.astype(L)
    def fun(th):
        z=X@th; p=sig(z)
        return np.sum(w*(sp(z)-y*z)), X.T@(w*(p-y)), X.T@(X*(w*p*(1-p))[:,None])
    return fun
def betafeat(s): return -sp(-s), sp(s)                            # ln p, -ln(1-p)

def fit_beta(D,W):
    s,y,q=D["s"],D["y"],D["q"]; u,v=betafeat(s.astype(L)); one=np.ones_like(u)
    def fit(cols):
        X=np.stack([{"a":u,"b":v,"c":one}[k] for k in cols],1)
        th,f,g=newton(logistic(X,y,W),np.zeros(len(cols))); assert g<1e-10,g
        return dict(zip(cols,th)),f,g
    full,ff,gg=fit("abc"); r=full; f,g=ff,gg; dropped=None; nneg=(full["a"]<0)+(full["b"]<0)
    assert nneg<2
    if full["a"]<0: dropped="a"; r,f,g=fit("bc"); assert r["b"]>=0
    elif full["b"]<0: dropped="b"; r,f,g=fit("ac"); assert r["a"]>=0
    a,b,c=r.get("a",L(0)),r.get("b",L(0)),r["c"]
    pr=lambda x: sig(a*betafeat(x.astype(L))[0]+b*betafeat(x.astype(L))[1]+c)
    # the refit IS the constrained maximum: KKT multiplier of the dropped coefficient >= 0
    fun=logistic(np.stack([u,v,one],1),y,W); grad=fun(np.array([a,b,c]))[1]
    assert (a>0 or grad[0]>=-1e-10) and (b>0 or grad[1]>=-1e-10)
    # checks: statsmodels Binomial GLM (weights), betacal, and betacal's regression solved tightly
    X=np.stack([u,v,one],1).astype(float); cols=[i for i,k in enumerate("abc") if k!=dropped]
    m=sm.GLM(y.astype(float),X[:,cols],family=sm.families.Binomial(),freq_weights=W).fit(tol=1e-14,maxiter=200)
    ref=np.array([[a,b,c][i] for i in cols],float); gsm=float(np.abs(m.params-ref).max())
    bc=BetaCalibration("abm").fit(expit(s).reshape(-1,1),y,None if D["w"] is None else W)
    bp=bc.predict(expit(q)); bmap=bc.calibrator_.map_; bint=bc.calibrator_.lr_.intercept_[0]
    chk=dict(statsmodels_coef_gap=gsm,betacal_pred_gap=float(np.abs(bp-pr(q).astype(float)).max()),
       betacal_coef_gap=float(max(abs(bmap[0]-a),abs(bmap[1]-b),abs(bint-c))))
    lr=LogisticRegression(C=np.inf,tol=1e-12,solver="newton-cholesky",max_iter=1000).fit(X[:,[i for i in cols if i<2]],y,sample_weight=W)
    chk["sklearn_tight_pred_gap"]=float(np.abs(lr.predict_proba(np.stack(betafeat(q),1)[:,[i for i in cols if i<2]])[:,1]-pr(q).astype(float)).max())
    return dict(a=float(a),b=float(b),c=float(c),dropped=dropped,unconstrained=fl([full["a"],full["b"],full["c"]]),nll=float(f),grad_inf=g,pred=fl(pr(q)),check=chk)

def fit_temp(D,W):
    s,y,w,q=D["s"].astype(L),D["y"].astype(L),W.astype(L),D["q"].astype(L)
    def fun(th):                                                  # convex in k=1/T
        k=th[0]; z=k*s; p=sig(z)
        return np.sum(w*(sp(z)-y*z)),np.array([np.sum(w*(p-y)*s)]),np.array([[np.sum(w*p*(1-p)*s*s)]])
    k,f,g=newton(fun,[1.0]); k=k[0]; assert k>0 and g<1e-11
    b=minimize_scalar(lambda t: float(fun(np.array([np.exp(-L(t))]))[0]),bounds=(-5,5),method="bounded",options=dict(xatol=1e-10))
    return dict(T=float(1/k),log_T=float(-np.log(k)),nll=float(f),grad_inf=g,pred=fl(sig(k*q)),check=dict(bounded_logT_gap=float(abs(b.x+np.log(k))),bounded_nll_gap=float(b.fun-f)))

def fit_power(D,W):
    s,y,w,q=D["s"].astype(L),D["y"].astype(L),W.astype(L),D["q"].astype(L); u=-sp(-s)
    X=np.stack([u,np.ones_like(u)],1)
    def fun(th):
        e=X@th; m=np.exp(e); return np.sum(w*(m-y*e)),X.T@(w*(m-y)),X.T@(X*(w*m)[:,None])
    th,f,g=newton(fun,[1.0,0.0]); assert g<1e-10,g
    k,lg=th; raw=np.exp(lg+k*(-sp(-q))); m=np.exp(X@th)
    Xf=X.astype(float); Y=D["y"].astype(float); opt=dict(tol=1e-14,maxiter=200)
    gf=sm.GLM(Y,Xf,family=sm.families.Poisson(),freq_weights=W).fit(**opt).params
    gv=sm.GLM(Y,Xf,family=sm.families.Poisson(),var_weights=W).fit(**opt).params
    return dict(g=float(np.exp(lg)),k=float(k),log_g=float(lg),objective=float(f),grad_inf=g,pred=fl(np.minimum(1,raw)),
      pred_uncapped=fl(raw),rows_with_fitted_mean_above_1=int((m>1).sum()),
      check=dict(statsmodels_freq_gap=float(np.abs(gf-th.astype(float)).max()),statsmodels_var_gap=float(np.abs(gv-th.astype(float)).max()),
        sum_pred_minus_sum_y=float(np.sum(w*(m-y)))))

# ---------------------------------------------------------------- exact (rational) PAVA
def pool_ties(s,y,w):
    d={}
    for a,b,c in zip(s,y,w):
        t=d.setdefault(Fr(a),[Fr(0),Fr(0)]); t[0]+=c; t[1]+=c*b
    return [(x,d[x][0],d[x][1]) for x in sorted(d)]               # (x, sum w, sum w y)
def pava(rows,strict):
    """rows (w, wy, payload list) in order; strict=True pools equal means too (maximal level sets)."""
    st=[]
    for w,wy,pay in rows:
        st.append([w,wy,list(pay)])
        while len(st)>1:
            a,b=st[-2],st[-1]; l,r=a[1]*b[0],b[1]*a[0]
            if l>r or (strict and l==r): a[0]+=b[0]; a[1]+=b[1]; a[2]+=b[2]; st.pop()
            else: break
    return st
def interp(nodes,x):
    if x<=nodes[0][0]: return nodes[0][1]
    if x>=nodes[-1][0]: return nodes[-1][1]
    for (x0,v0),(x1,v1) in zip(nodes,nodes[1:]):
        if x<=x1: return v0+(v1-v0)*(x-x0)/(x1-x0)
FW=lambda D: [Fr(1)]*len(D["s"]) if D["w"] is None else [Fr(float(v)) for v in D["w"]]

def fit_cir(D,W):
    t=pool_ties(D["s"].tolist(),D["y"].tolist(),FW(D)); q=[Fr(v) for v in D["q"].tolist()]
    bl=pava([(w,wy,[(x,w)]) for x,w,wy in t],True)
    nodes=[(sum(x*w for x,w in b[2])/b[0],b[1]/b[0]) for b in bl]
    nst=len([b for b in pava([(w,wy,[x]) for x,w,wy in t],False) if b[1]!=0 and b[1]!=b[0]]); nin=sum(v not in (0,1) for _,v in nodes)
    alt=[]                                                        # R package cir default: flats at exactly 0 or 1 are not contracted
    for (c,v),b in zip(nodes,bl): alt+= [(x,v) for x,_ in b[2]] if v in (0,1) else [(c,v)]
    pr=[interp(nodes,x) for x in q]
    # float twin: sklearn's own PAVA values -> level sets -> np.interp
    s=D["s"]; o=np.argsort(s,kind="stable"); u,inv=np.unique(s,return_inverse=True); sw=np.bincount(inv,W); ym=np.bincount(inv,W*D["y"])/sw
    f=isotonic_regression(ym,weights=sw).x; lab=np.r_[0,np.cumsum(np.diff(f)>1e-12)]
    cx=np.bincount(lab,sw*u)/np.bincount(lab,sw); cv=np.bincount(lab,sw*ym)/np.bincount(lab,sw)
    gap=float(np.abs(np.interp(D["q"],cx,cv)-np.array(fl(pr))).max()); assert gap<1e-12,gap
    ir=IsotonicRegression(out_of_bounds="clip").fit(s,D["y"],sample_weight=W)
    isogap=float(np.abs(ir.predict(u)-f).max()); assert isogap<1e-12
    return dict(x=fl(x for x,_ in nodes),v=fl(v for _,v in nodes),pred=fl(pr),pred_flat_ends_kept=fl(interp(alt,x) for x in q),check=dict(float_twin_gap=gap,interior_blocks_merged_for_equal_mean=nst-nin))

def fit_va(D,W):
    s,y,n=D["s"].tolist(),D["y"].tolist(),len(D["s"]); w=FW(D)
    mean=[sum(v for v,l in zip(w,y) if l==lab)/sum(1 for l in y if l==lab) for lab in (0,1)]  # of each class
    t=pool_ties(s,y,w); P0,P1=[],[]
    def ev(x,lab):
        rows=dict((a,[b,c]) for a,b,c in t); r=rows.setdefault(x,[Fr(0),Fr(0)]); r[0]+=mean[lab]; r[1]+=lab*mean[lab]
        for b in pava([(rows[a][0],rows[a][1],[a]) for a in sorted(rows)],True):
            if x in b[2]: return b[1]/b[0]
    for x in D["q"].tolist(): P0.append(ev(Fr(x),0)); P1.append(ev(Fr(x),1))
    p=[b/(1-a+b) for a,b in zip(P0,P1)]
    g=0.0
    for x,a,b in zip(D["q"],P0,P1):                               # brute force with sklearn on the n+1 rows
        for lab,v in ((0,a),(1,b)):
            ir=IsotonicRegression(out_of_bounds="clip").fit(np.r_[D["s"],x],np.r_[D["y"],lab],sample_weight=np.r_[W,float(mean[lab])])
            g=max(g,abs(float(ir.predict([x])[0])-float(v)))
    assert g<1e-12,g
    chk=dict(sklearn_gap=g)
    if D["w"] is None:
        va=VennAbers().fit(np.stack([-D["s"],D["s"]],1),D["y"]); pp,p01=va.predict_proba(np.stack([-D["q"],D["q"]],1))
        e=np.abs(p01-np.stack([fl(P0),fl(P1)],1)); chk["venn_abers_gap_p0"],chk["venn_abers_gap_p1"]=fl(e.max(0)); chk["venn_abers_gap_p"]=float(np.abs(pp[:,1]-fl(p)).max())
        bad=np.where(e.max(1)>1e-9)[0]
        if len(bad): chk["venn_abers_bad"]=[dict(q=float(D["q"][i]),pkg=fl(p01[i]),ours=[float(P0[i]),float(P1[i])]) for i in bad]
    return dict(p0=fl(P0),p1=fl(P1),pred=fl(p),check=chk)

# ---------------------------------------------------------------- monotone P-spline
def fit_spline(D,W):
    s,y,q=D["s"],D["y"],D["q"]; lo,hi=s.min(),s.max(); inner=[]
    for v in np.quantile(s,np.arange(1,8)/8):
        if v!=lo and v!=hi and v not in inner: inner.append(float(v))
    t=np.r_[[lo]*4,inner,[hi]*4]; M=len(inner)+4
    g=np.array([t[m+1:m+4].mean() for m in range(M)])
    basis=lambda x: BSpline.design_matrix(np.clip(x,lo,hi),t,3).toarray()
    def basis2(x):                                                # Cox-de Boor twin, longdouble
        x=np.clip(x,lo,hi).astype(L); tt=t.astype(L); k=np.searchsorted(t,x.astype(float),side="right")-1; k=np.minimum(k,M-1)
        B=np.zeros((len(x),len(t)-1),L); B[np.arange(len(x)),k]=1
        for d in (1,2,3):
            C=np.zeros((len(x),len(t)-1-d),L)
            for i in range(len(t)-1-d):
                if tt[i+d]>tt[i]: C[:,i]+=(x-tt[i])/(tt[i+d]-tt[i])*B[:,i]
                if tt[i+d+1]>tt[i+1]: C[:,i]+=(tt[i+d+1]-x)/(tt[i+d+1]-tt[i+1])*B[:,i+1]
            B=C
        return B
    Bs,Bq=basis2(s),basis2(q)
    assert max(np.abs(Bs-basis(s)).max(),np.abs(Bq-basis(q)).max())<1e-13
    Cum=np.tril(np.ones((M,M),L))                                 # theta = Cum @ (theta0, increments)
    d1=np.zeros((M-1,M),L)
    for j in range(M-1): d1[j,j]=-1/(L(g[j+1])-L(g[j]))*(L(hi)-L(lo)); d1[j,j+1]=-d1[j,j]
    P=np.diff(d1,axis=0)@Cum; PP=P.T@P; X=Bs@Cum; yl=y.astype(L); wl=W.astype(L); res=[]
    for lam in (0.1,10.0,1000.0):
        def fun(e):
            z=X@e; p=sig(z); r=P@e
            return np.sum(wl*(sp(z)-yl*z))+L(lam)/2*(r@r), X.T@(wl*(p-yl))+L(lam)*(PP@e), X.T@(X*(wl*p*(1-p))[:,None])+L(lam)*PP
        e=np.zeros(M,L); r=W@y/W.sum(); e[0]=np.log(r/(1-r)); lb=np.r_[-np.inf,np.zeros(M-1)]
        for it in range(100):                                     # SQP: exact Newton model, exact bounded QP (BVLS)
            f,gr,H=fun(e); Lc=np.linalg.cholesky(H.astype(float)); b=np.linalg.solve(Lc,(H@e-gr).astype(float))
            x=lsq_linear(Lc.T,b,bounds=(lb,np.full(M,np.inf)),method="bvls",tol=1e-15,max_iter=500).x
            d=x.astype(L)-e; tstep=L(1)
            while tstep>1e-10 and fun(e+tstep*d)[0]>f+1e-4*tstep*(gr@d)+1e-15*abs(f): tstep/=2
            if tstep<=1e-10: break
            e=e+tstep*d
            if np.abs(tstep*d).max()<1e-11*(1+np.abs(e).max()): break
        act=set(j for j in range(1,M) if e[j]<=1e-9)
        for _ in range(50):                                       # polish: Newton on the free set; release/add until KKT holds
            free=[j for j in range(M) if j not in act]
            def sub(v):
                ee=np.zeros(M,L); ee[free]=v; f,gr,H=fun(ee); return f,gr[free],H[np.ix_(free,free)]
            v,f,_=newton(sub,e[free]); e=np.zeros(M,L); e[free]=v; gr=fun(e)[1]
            neg=[j for j in range(1,M) if e[j]<0]; rel=[j for j in act if gr[j]<-1e-10]
            if neg: act|=set(neg); e=np.maximum(e,np.r_[L(-1e9),np.zeros(M-1,L)])
            elif rel: act.discard(min(rel,key=lambda j: gr[j]))
            else: break
        else: raise SystemExit("active set did not settle")
        kkt=float(max(np.abs(gr[free]).max(),max([0]+[-gr[j] for j in act]),max([0]+[-e[j] for j in range(1,M)]))); assert kkt<1e-8,kkt
        th=Cum@e; pred=sig(Bq@th)
        # independent optimisers on the same objective (float64)
        F=lambda v: tuple(np.asarray(o,float) if i else float(o) for i,o in enumerate(fun(v.astype(L))[:2]))
        x0=np.r_[float(np.log(r/(1-r))),np.full(M-1,.1)]; bd=[(None,None)]+[(0,None)]*(M-1)
        lb_=minimize(F,x0,jac=True,method="L-BFGS-B",bounds=bd,options=dict(maxiter=50000,maxfun=50000,ftol=1e-16,gtol=1e-12,maxcor=30))
        sl=minimize(F,x0,jac=True,method="SLSQP",bounds=bd,options=dict(maxiter=5000,ftol=1e-14))
        gaps=[float(lb_.fun-float(f)),float(sl.fun-float(f))]; assert min(gaps)>-1e-9,gaps
        assert min(gaps)<1e-5,gaps
        pen=float(L(lam)/2*np.sum((P@e)**2))
        bestx=(lb_ if gaps[0]<gaps[1] else sl).x
        res.append({"lambda":lam,"objective":float(f),"penalty":pen,"theta":fl(th),"active":sorted(int(j) for j in act),"kkt_inf":kkt,
          "min_free_increment":float(min(e[j] for j in free if j)) if len(free)>1 else None,"min_active_multiplier":float(min(gr[j] for j in act)) if act else None,
          "hessian_cond":float(np.linalg.cond(fun(e)[2].astype(float))),"pred":fl(pred),
          "check":dict(lbfgsb_objective_gap=gaps[0],slsqp_objective_gap=gaps[1],best_of_two_pred_gap=float(np.abs(sig(Bq@(Cum@bestx.astype(L)))-pred).max()))})
    return dict(knots=fl(t),greville=fl(g),fits=res)

# ---------------------------------------------------------------- histogram
def fit_hist(D,W,B=10):
    n=len(D["s"]); o=sorted(range(n),key=lambda i: D["s"][i]); s=[float(D["s"][i]) for i in o]; fw=FW(D); w=[fw[i] for i in o]; y=[int(D["y"][i]) for i in o]
    cuts=[0]; moved=0; half=0
    for b in range(1,B):
        c=b*(n//B)+min(b,n%B)
        if 0<c<n and s[c-1]==s[c]:
            st=s.index(s[c]); en=st+s.count(s[c]); moved+=1; half+=(c-st==en-c)
            c=st if c-st<en-c else en
        cuts.append(c)
    cuts=sorted(set(cuts)|{n}); starts=[c for c in cuts if c<n]
    rows=[]
    for a,b in zip(cuts,cuts[1:]): rows.append((sum(w[a:b]),sum(x*v for x,v in zip(w[a:b],y[a:b])),[(a,s[a])]))
    def out(strict):
        bl=pava(rows,strict); return [b[2][0][1] for b in bl],[b[1]/b[0] for b in bl]
    bd,rt=out(False); bm,rm=out(True)
    flip=0
    for b in range(1,B):
        c=b*(n//B)+min(b,n%B)
        if s[c-1]==s[c]:
            st=s.index(s[c]); en=st+s.count(s[c]); flip+=(c-st==en-c) and en in cuts and st not in cuts
    ev=lambda bd,rt,x: rt[max(0,sum(v<=x for v in bd)-1)]
    pr=[ev(bd,rt,x) for x in D["q"].tolist()]; assert pr==[ev(bm,rm,x) for x in D["q"].tolist()]
    # float twin with scipy PAVA over the raw bins
    rate=np.array(fl(b/a for a,b,_ in rows)); bw=np.array(fl(a for a,_,_ in rows)); lowest=np.array([r[2][0][1] for r in rows])
    tw=isotonic_regression(rate,weights=bw).x[np.maximum(np.searchsorted(lowest,D["q"],side="right")-1,0)]
    gap=float(np.abs(tw-fl(pr)).max()); assert gap<1e-12
    return dict(bins=B,raw_starts=starts,raw_lowest=lowest.tolist(),raw_weight=bw.tolist(),raw_rate=rate.tolist(),boundaries=bd,rates=fl(rt),
      boundaries_equal_pooled=bm,rates_equal_pooled=fl(rm),pred=fl(pr),check=dict(cuts_moved=moved,cuts_equidistant=half,equidistant_where_earlier_end_would_differ=flip,scipy_gap=gap))

out=[]
for D in SETS:
    W=np.ones(len(D["s"])) if D["w"] is None else D["w"]
    r=dict(name=D["name"],desc=D["desc"],seed=D["seed"],n=len(D["s"]),positives=int(D["y"].sum()),distinct_s=len(np.unique(D["s"])),
       s=D["s"].tolist(),y=D["y"].tolist(),w=None if D["w"] is None else D["w"].tolist(),q=D["q"].tolist())
    r["beta"]=fit_beta(D,W); r["temperature"]=fit_temp(D,W); r["power"]=fit_power(D,W); r["centred_isotonic"]=fit_cir(D,W)
    r["venn_abers"]=fit_va(D,W); r["spline"]=fit_spline(D,W); r["histogram"]=fit_hist(D,W); out.append(r)
    b=r["beta"]; print(f"\n== {r['name']} n={r['n']} pos={r['positives']} distinct={r['distinct_s']} sumw={W.sum():.4f}")
    print(" beta",b["a"],b["b"],b["c"],"dropped",b["dropped"],"unc",np.round(b["unconstrained"],4),"g",b["grad_inf"],b["check"])
    print(" temp",r["temperature"]["T"],r["temperature"]["grad_inf"],r["temperature"]["check"])
    p=r["power"]; print(" power",p["g"],p["k"],p["grad_inf"],"capped q",sum(v>1 for v in p["pred_uncapped"]),"rows>1",p["rows_with_fitted_mean_above_1"],p["check"])
    c=r["centred_isotonic"]; print(" cir blocks",len(c["x"]),np.round(c["v"],3),"alt diff",np.abs(np.array(c["pred"])-c["pred_flat_ends_kept"]).max(),c["check"])
    print(" va",r["venn_abers"]["check"])
    print(" knots",len(r["spline"]["knots"]))
    for f in r["spline"]["fits"]: print("  ",f["lambda"],f["objective"],"pen",f["penalty"],"act",f["active"],"kkt",f["kkt_inf"],"minfree",f["min_free_increment"],"minmult",f["min_active_multiplier"],"cond",f"{f['hessian_cond']:.1e}",f["check"])
    h=r["histogram"]; print(" hist raw",len(h["raw_starts"]),np.round(h["raw_rate"],3),"blocks",len(h["rates"]),len(h["rates_equal_pooled"]),h["check"])
V={k:md.version(k) for k in ("numpy","scipy","scikit-learn","statsmodels","betacal","venn-abers")}
notes={
 "q":"25 queries, shuffled: lo-3, lo-.5, lo, hi, hi+.5, hi+3, 8 calibration scores, 11 uniform in range; all |s|<~15 so clipping of p at 1e-12 never binds",
 "weights":"raw weights (NOT normalised) in every NLL, so lambda is against sum w * nll; venn_abers adds a row of the mean weight of its label",
 "beta":"logit P = a ln p - b ln(1-p) + c, p=sigmoid(s); Newton, longdouble gradients; KKT of the dropped coefficient verified",
 "centred_isotonic":"pred: blocks are maximal level sets of the isotonic fit (equal means pooled), ties of s pooled first, constant outside centres. pred_flat_ends_kept: R package cir's default, blocks at exactly 0 or 1 keep every distinct s as a node instead of one centre",
 "venn_abers":"exact rational brute force, pred = p1/(1-p0+p1)",
 "spline":"theta is ordered; active = indices j of increments theta_j - theta_{j-1} held at 0; kkt_inf = max(|grad free increments and theta_0|, -multipliers, -increments), absolute, in increment coordinates",
 "power":"objective = sum w (mean - y log mean), means not capped while fitting; pred capped at 1",
 "histogram":"boundaries/rates: pooled where rate strictly decreases; *_equal_pooled: equal rates pooled too (same step function)"}
tol={"beta":"1e-8","temperature":"1e-10","power":"1e-8","centred_isotonic":"1e-12","venn_abers":"1e-12","spline":"pred 1e-6 (see kkt_inf, hessian_cond), objective 1e-10 relative","histogram":"1e-12"}
json.dump(dict(versions=V,notes=notes,tolerance=tol,sets=out),open("maps.json","w"),separators=(",",":"),allow_nan=False)
print("\nbytes",os.path.getsize("maps.json"),V)
